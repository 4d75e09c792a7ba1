# Something in every section, for the comparison of DebugConfig. {ip} and {dir} are replaced.
datacenter = "DC7"
primary_datacenter = "dc7"
server = true
bootstrap_expect = 1
addresses { http = "{ip} unix://{dir}/h.sock" }
unix_sockets { mode = "0777" group="0" user="0" }
recursors = ["8.8.8.8", "1.1.1.1", "8.8.8.8"]
node_meta { a = "b", c_token = "d" }
tagged_addresses { lan = "1.2.3.4", other = "5.6.7.8" }
telemetry { prefix_filter = ["+a.b", "-c.d"] statsd_address = "127.0.0.1:1" dogstatsd_tags=["x"] prometheus_retention_time="24h" circonus_check_tags="tt" disable_hostname=true metrics_prefix="zz"}
dns_config { service_ttl { "*" = "10s", web = "1m30s" } soa { refresh = 1 retry = 2 expire=3 min_ttl=4} node_ttl="5s" cache_max_age="1s" udp_answer_limit=2 a_record_limit=4}
limits { rpc_rate = 10.5 rpc_max_burst = 7 kv_max_value_size = 1000 }
performance { raft_multiplier = 1 leave_drain_time="1ms" }
raft_snapshot_threshold = 100
raft_snapshot_interval = "10s"
reconnect_timeout = "20h"
session_ttl_min = "1s"
encrypt = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
http_config { block_endpoints = ["/v1/x"] allow_write_http_from = ["127.0.0.0/8"] response_headers { "X-A" = "b" } }
retry_join = ["provider=none tag_key=k secret_access_key=zzz"]
serf_lan_allowed_cidrs = ["127.0.0.0/8"]
tls_cipher_suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
acl { enabled = true default_policy="deny" tokens { master = "m" agent = "x" } token_ttl = "5s"}
connect { enabled = true ca_provider = "consul" ca_config { leaf_cert_ttl = "80h" rotation_period="90h" private_key_bits = 256} }
watches = [{ type = "key" key = "a" handler_type="script" args = ["true", "x"] }]
enable_script_checks = true
check { id = "chk" name = "c1" args = ["true"] interval = "10s" timeout = "3s" header { A = ["b","c"] } token="t"}
checks = [ {name="ttl" ttl="30s" status="passing"} ]
service { name = "web" port = 80 tags = ["a"] meta { m = "n" } checks = [{ http = "http://127.0.0.1:1" interval = "5s" }] weights { passing = 3 warning = 2 } tagged_addresses { lan = { address = "1.1.1.1" port = 5 } } token = "tok" connect { sidecar_service {} } }
services { name = "proxy" kind = "connect-proxy" port = 5000 proxy { destination_service_name = "web" config { a = 1 b = "x" } upstreams = [{ destination_name = "db" local_bind_port = 999 config { z = 1.5 }}] expose { paths = [{path="/x" listener_port=7777 local_path_port=8 protocol="http"}]} mesh_gateway { mode = "local" } } }
auto_encrypt { dns_san = ["a"] ip_san = ["1.2.3.4", "bad"] }
cache { entry_fetch_rate = 3 entry_fetch_max_burst = 9 }
log_level = "warn"
log_rotate_bytes = 5
start_join = ["{ip}"]
translate_wan_addrs = true
ui_content_path = "my/ui"
segment = ""
