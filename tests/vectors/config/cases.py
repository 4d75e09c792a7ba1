"""Configurations, good and bad, that both Consul and we are asked to judge. expected.json has Consul's answers.

A case is (name, files, arguments). Files are written to a fresh directory DIR; "{dir}" in texts and
arguments stands for it. Arguments after `validate` or `agent`; None means `validate` with base.hcl, which
makes a config complete, and all the other files in their order."""

from __future__ import annotations

BASE = 'bind_addr = "127.0.0.1"\ndata_dir = "{dir}/data"\n'

Case = tuple[str, dict[str, str], list[str] | None]


def hcl(name: str, text: str) -> Case:
    return (name, {"a.hcl": text}, None)


def server(name: str, text: str) -> Case:
    return (name, {"a.hcl": "server = true\n" + text}, None)


def json(name: str, text: str) -> Case:
    return (name, {"a.json": text}, None)


def agent(name: str, *arguments: str) -> Case:
    return (name, {}, ["agent", "-bind=127.0.0.1", "-data-dir={dir}/data", *arguments])


HCL_SYNTAX = [
    hcl("empty file", ""),
    hcl("only a comment", "# nothing\n// more\n/* and\nmore */"),
    hcl("good scalars", 'node_name = "n-1"\nserver = true\nbootstrap = false\nports { http = 8501 }\n'),
    hcl("equals before block", "ports = { http = 8501 }\nlimits = { rpc_rate = 1.5 }"),
    hcl("quoted keys and commas", '"node_name" = "n", "ports" { "http" = 1, "dns" = 2, }'),
    hcl("hexadecimal and octal", "ports { http = 0x2134 dns = 010 }"),
    hcl("repeated block", "ports { http = 1 }\nports { dns = 2 }"),
    hcl("repeated key, last wins", 'node_name = "a"\nnode_name = "b.c"'),
    hcl("repeated key of another type", 'node_name = "a"\nnode_name = true'),
    hcl("heredoc", "node_name = <<EOF\nn1\nEOF\n"),
    hcl("indented heredoc", "node_name = <<-EOF\n  n1\n  EOF\n"),
    hcl("heredoc not terminated", "node_name = <<EOF\nn1\n"),
    hcl("heredoc with a bad anchor", "node_name = <<E F\nn1\nE F\n"),
    hcl("interpolation stays text", 'node_name = "${env "x"}"'),
    hcl("escapes", 'node_name = "a\\tb\\u00e9\\x41\\101"'),
    hcl("bad escape", 'node_name = "a\\q"'),
    hcl("string over two lines", 'node_name = "a\nb"'),
    hcl("string not closed", 'node_name = "a'),
    hcl("comment not closed", "/* a"),
    hcl("lone slash", "/ a"),
    hcl("no value", "node_name"),
    hcl("no value in a block", "ports { http }"),
    hcl("equals at the end", "node_name ="),
    hcl("value is a word", "node_name = word"),
    hcl("missing brace", "ports { http = 1"),
    hcl("extra brace", "ports { http = 1 } }"),
    hcl("brace without key", "{{ a = 1 }}"),
    hcl("equals without key", '= "a"'),
    hcl("nested key with equals", "foo bar = {}"),
    hcl("list without comma", 'recursors = ["1.1.1.1" "8.8.8.8"]'),
    hcl("list with trailing comma", 'recursors = ["1.1.1.1",]'),
    hcl("list not closed", 'recursors = ["1.1.1.1"'),
    hcl("list of lists", 'recursors = [["1.1.1.1"]]'),
    hcl("object in list broken", "watches = [{ type = }]"),
    hcl("word in list", "recursors = [word]"),
    hcl("illegal character", "node_name = 'n1'"),
    hcl("colon instead of equals", 'node_name: "n1"'),
    hcl("number too large", "ports { http = 99999999999999999999 }"),
    hcl("bad hexadecimal", "ports { http = 0x }"),
    hcl("bad octal", "ports { http = 09 }"),
    hcl("float for an integer", "ports { http = 8500.9 }"),
    hcl("exponent", "limits { rpc_rate = 1e3 }"),
    hcl("negative port", "ports { http = -1 }"),
    hcl("labels", 'service "web" { port = 80 }'),
    hcl("CRLF", 'node_name = "n1"\r\nports {\r\n http = 1\r\n}\r\n'),
    hcl("two errors, last scanned wins", "a = 'x'\nb = 'y'\n"),
    hcl("JSON in an HCL file", '{"node_name": "n1", "ports": {"http": 1}}'),
]

JSON_SYNTAX = [
    json("good", '{"node_name": "n1", "ports": {"http": 1}, "retry_join": ["a"]}'),
    json("null values", '{"node_name": null, "ports": null}'),
    json("top-level null", "null"),
    json("whitespace only", "  \n"),
    json("not an object", "[]"),
    json("a string", '"x"'),
    json("a number", "5"),
    json("trailing comma", '{"server": true,}'),
    json("no comma", '{"server": true "ui": true}'),
    json("no colon", '{"server" true}'),
    json("bare key", "{server: true}"),
    json("single quotes", "{'server': true}"),
    json("bad literal", '{"server": tru}'),
    json("capital literal", '{"server": True}'),
    json("ends early", '{"server": true'),
    json("ends in a string", '{"server'),
    json("more behind it", '{"server": true} x'),
    json("newline in a string", '{"node_name": "a\nb"}'),
    json("bad escape", '{"node_name": "a\\qb"}'),
    json("bad unicode escape", '{"node_name": "\\u12x4"}'),
    json("leading zero", '{"ports": {"http": 01}}'),
    json("lone minus", '{"ports": {"http": -}}'),
    json("no fraction", '{"ports": {"http": 1.}}'),
    json("no exponent", '{"ports": {"http": 1e}}'),
    json("comment", '{"server": true /* x */}'),
    json("NaN", '{"limits": {"rpc_rate": NaN}}'),
    json("list without comma", '{"recursors": ["a" "b"]}'),
    json("non-ASCII character", '{"server": é}'),
    json("duplicate keys", '{"node_name": "a", "node_name": "b.c"}'),
]

TYPES = [
    hcl("number for a text", "node_name = 5"),
    json("number for a text in JSON", '{"node_name": 5}'),
    hcl("text for a number", 'ports { http = "8500" }'),
    hcl("text for a boolean", 'server = "true"'),
    hcl("boolean for a text", "node_name = true"),
    hcl("list for a text", 'node_name = ["a", "b"]'),
    hcl("list of one for a text", 'node_name = ["a"]'),
    hcl("block for a text", "node_name { a = 1 }"),
    hcl("text for a block", 'ports = "a"'),
    hcl("list for a block", "ports = [1, 2]"),
    hcl("number for a duration", "default_query_time = 5"),
    hcl("text for a list", 'recursors = "1.1.1.1"'),
    hcl("number in a list of texts", "recursors = [1]"),
    hcl("text for a map", 'node_meta = "a"'),
    hcl("number in a map of texts", "node_meta { a = 1 }"),
    hcl("negative for unsigned", "limits { kv_max_value_size = -1 }"),
    json("negative for unsigned in JSON", '{"limits": {"kv_max_value_size": -1}}'),
    hcl("several wrong types", 'node_name = 5\nserver = "x"\nports { http = "a" dns = true }'),
    hcl("service with wrong types", "service { name = 5 port = true }"),
    json("check header of the wrong shape", '{"check": {"name": "a", "header": {"A": "b"}}}'),
    hcl("old spelling of check keys", 'check { name = "c" ScriptArgs = ["a"] interval = "1s" ServiceID = "x" }'),
]

KEYS = [
    hcl("unknown key", "bogus = 1"),
    hcl("unknown key in a block", "ports { bogus = 1 }"),
    hcl("unknown key in a list of blocks", 'services { name = "a" bogus = 1 }'),
    hcl("keys in capitals", 'Node_Name = "n1"\nPORTS { HTTP = 1 }'),
    hcl("deprecated key", "acl_enforce_version_8 = true"),
    hcl("deprecated ACL datacenter", 'acl_datacenter = "dc1"'),
    hcl("Enterprise keys", "audit {}\nnon_voting_server = true\nacl { tokens { managed_service_provider {} } }"),
    hcl("Enterprise DNS", "dns_config { prefer_namespace = true }"),
    hcl("Enterprise autopilot", 'autopilot { upgrade_version_tag = "x" }'),
    hcl("segment", 'segment = "alpha"'),
    server("segments", 'segments { name = "alpha" port = 8303 }'),
    server("segment without port", 'segments { name = "alpha" }'),
    hcl("snapshot agent", "snapshot_agent { license { path = 1 } }"),
    hcl("keys a user cannot change", 'ae_interval = "5s"\nversion = "9"\nconsul { raft { election_timeout = "1s" } }'),
]

BASICS = [
    ("no data_dir", {"a.hcl": 'bind_addr = "127.0.0.1"'}, ["validate", "{dir}/a.hcl"]),
    hcl("data_dir is a file", 'data_dir = "{dir}/a.hcl"'),
    hcl("data_dir below a file", 'data_dir = "{dir}/a.hcl/x"'),
    hcl("datacenter empty", 'datacenter = ""'),
    hcl("datacenter with a dot", 'datacenter = "dc.1"'),
    hcl("datacenter in capitals", 'datacenter = "DC1"'),
    hcl("primary datacenter bad", 'primary_datacenter = "dc 1"'),
    hcl("node name with a dot", 'node_name = "a.b"'),
    hcl("node name with spaces around", 'node_name = "  a  "'),
    hcl("node name of spaces", 'node_name = "  "'),
    hcl("node name too long", 'node_name = "' + "a" * 64 + '"'),
    hcl("node meta key with a dot", 'node_meta { "a.b" = "c" }'),
    hcl("node meta key reserved", 'node_meta { "consul-x" = "c" }'),
    hcl("node meta key empty", 'node_meta { "" = "c" }'),
    hcl("node meta value too long", 'node_meta { "a" = "' + "c" * 513 + '" }'),
    hcl("too many node meta", "node_meta {\n" + "".join(f'k{n} = "v"\n' for n in range(65)) + "}"),
    hcl("ui content path", 'ui_content_path = "a b"'),
    hcl("ui content path with a version", 'ui_content_path = "/v1/"'),
    hcl("ui and ui_dir", 'ui = true\nui_dir = "/x"'),
    hcl("encrypt is not base64", 'encrypt = "a b"'),
    hcl("encrypt is cut", 'encrypt = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s"'),
    hcl("encrypt with a wrong end", 'encrypt = "YWJj=Q=="'),
    hcl("output size zero", "check_output_max_size = 0"),
    hcl("raft multiplier zero", "performance { raft_multiplier = 0 }"),
    hcl("raft multiplier eleven", "performance { raft_multiplier = 11 }"),
    hcl("udp answer limit negative", "dns_config { udp_answer_limit = -1 }"),
    hcl("a record limit negative", "dns_config { a_record_limit = -1 }"),
    hcl("trailing logs negative", "autopilot { max_trailing_logs = -1 }"),
    hcl("cache burst zero", "cache { entry_fetch_max_burst = 0 }"),
    hcl("cache rate negative", "cache { entry_fetch_rate = -1.5 }"),
    hcl("too many connections", "limits { http_max_conns_per_client = 100000000 }"),
    hcl("alt domain is a keyword", 'alt_domain = "service.x"'),
    hcl("alt domain is the datacenter", 'alt_domain = "dc1.x"'),
    hcl("cipher suite", 'tls_cipher_suites = "TLS_X,TLS_Y"'),
    hcl("CIDR", 'http_config { allow_write_http_from = ["1.2.3.4"] }'),
    hcl("serf CIDR", 'serf_lan_allowed_cidrs = ["1.2.3.4/33", "x", "10.0.0.0/8"]'),
    hcl("prefix filter", 'telemetry { prefix_filter = ["+a", "", "b"] }'),
    hcl("script checks", "enable_script_checks = true"),
    hcl(
        "script checks with a list",
        'enable_script_checks = true\nhttp_config { allow_write_http_from = ["127.0.0.0/8"] }',
    ),
]

DURATIONS = [
    hcl("duration bad", 'reconnect_timeout = "abc"'),
    hcl("duration without unit", 'reconnect_timeout = "10"'),
    hcl("duration with an unknown unit", 'reconnect_timeout = "10d"'),
    hcl("duration empty", 'reconnect_timeout = ""'),
    hcl("duration too long", 'reconnect_timeout = "9999999h"'),
    hcl("durations good", 'reconnect_timeout = "1h2m3.5s"\nsession_ttl_min = "0"\nraft_snapshot_interval = "1500ms"'),
    hcl("two bad durations, the last is told", 'gossip_lan { probe_timeout = "x" }\nreconnect_timeout = "y"'),
    hcl("service ttl bad", 'dns_config { service_ttl { web = "x" } }'),
    hcl("gossip interval bad", 'gossip_wan { gossip_interval = "x" }'),
    hcl("recursor timeout bad", 'dns_config { recursor_timeout = "x" }'),
    hcl("check interval bad", 'check { id = "c" name = "c" interval = "x" }'),
    hcl("duration bad and port bad", 'reconnect_timeout = "x"\nports { http = 70000 }'),
]

ADDRESSES = [
    hcl("bind empty", 'bind_addr = ""'),
    hcl("bind two", 'bind_addr = "127.0.0.1 127.0.0.2"'),
    hcl("bind unix", 'bind_addr = "unix:///tmp/x"'),
    hcl("advertise any", 'advertise_addr = "0.0.0.0"'),
    hcl("advertise wan any", 'advertise_addr_wan = "::"'),
    hcl("advertise bad", 'advertise_addr = "x"'),
    hcl("advertise two", 'advertise_addr = "1.1.1.1 2.2.2.2"'),
    hcl("advertise unix", 'advertise_addr = "unix:///x"'),
    hcl("advertise ipv4 is ipv6", 'advertise_addr_ipv4 = "::1"'),
    hcl("advertise ipv6 is ipv4", 'advertise_addr_ipv6 = "1.1.1.1"'),
    hcl("advertise wan ipv4 is ipv6", 'advertise_addr_wan_ipv4 = "::1"'),
    hcl("advertise ipv6", 'advertise_addr = "fd00::1"\nadvertise_addr_ipv4 = "10.0.0.1"'),
    hcl("serf lan bad", 'serf_lan = "x"'),
    hcl("client unix", 'client_addr = "unix:///x"'),
    hcl("client bad", 'client_addr = "127.0.0.1 x"'),
    hcl("client two", 'client_addr = "127.0.0.1 127.0.0.2"'),
    hcl("client template", 'client_addr = "{{ GetInterfaceIPs \\"lo\\" }}"'),
    hcl("bind template of nothing", 'bind_addr = "{{ GetInterfaceIP \\"none\\" }}"'),
    hcl("advertise template", 'advertise_addr = "{{ . | include \\"name\\" \\"^lo$\\" | attr \\"address\\" }}"'),
    hcl("advertise template of nothing", 'advertise_addr = "{{ GetInterfaceIP \\"none\\" }}"'),
    hcl("advertise template of several", 'advertise_addr = "{{ GetInterfaceIPs \\"^lo$\\" }}"'),
    hcl("advertise wan bad", 'advertise_addr_wan = "x"'),
    hcl("advertise wan two", 'advertise_addr_wan = "1.1.1.1 2.2.2.2"'),
    hcl("advertise wan unix", 'advertise_addr_wan = "unix:///x"'),
    hcl("advertise wan template broken", 'advertise_addr_wan = "{{ GetPrivateIP"'),
    hcl("advertise wan ipv6 is ipv4", 'advertise_addr_wan_ipv6 = "1.1.1.1"'),
    hcl("advertise ipv4 bad", 'advertise_addr_ipv4 = "x"'),
    hcl("advertise of both families", 'advertise_addr_ipv4 = "10.0.0.1"\nadvertise_addr_ipv6 = "fd00::1"'),
    hcl("serf lan two", 'serf_lan = "127.0.0.1 127.0.0.2"'),
    hcl("serf lan unix", 'serf_lan = "unix:///x"'),
    hcl("serf lan template", 'serf_lan = "{{ . | include \\"name\\" \\"^lo$\\" | attr \\"address\\" }}"'),
    hcl("serf lan template broken", 'serf_lan = "{{ GetInterfaceIP }}"'),
    hcl("serf wan bad", 'serf_wan = "x"'),
    hcl("serf wan two", 'serf_wan = "127.0.0.1 127.0.0.2"'),
    hcl("serf wan bad but disabled", 'serf_wan = "x"\nports { serf_wan = -1 }'),
    hcl("address of http bad", 'addresses { http = "127.0.0.1 x" }'),
    hcl("address of dns template broken", 'addresses { dns = "{{ Foo }}" }'),
    hcl("address of https template", 'addresses { https = "{{ GetInterfaceIPs `^lo$` }}" }\nports { https = 8501 }'),
    hcl("addresses wrong in several keys", 'serf_lan = "x"\nserf_wan = "y"\nclient_addr = "z"\nadvertise_addr = "q"'),
    hcl("client template unknown function", 'client_addr = "{{ Foo }}"'),
    hcl("dns on a unix socket", 'addresses { dns = "unix:///x" }'),
    hcl("http on a unix socket", 'addresses { http = "unix:///x" }'),
    hcl("http address bad", 'addresses { http = "x" }'),
    hcl("http and dns on one address", "ports { http = 8600 }"),
    hcl("https on http", "ports { https = 8500 }"),
    hcl("server on serf", "ports { server = 8301 }"),
    hcl("serf lan on wan", "ports { serf_wan = 8301 }"),
    hcl("serf wan disabled", "ports { serf_wan = -1 }"),
    hcl("port too large", "ports { http = 65536 dns = 70000 }"),
    hcl("sidecar range", "ports { sidecar_min_port = 5 sidecar_max_port = 4 }"),
    hcl("proxy range", "ports { proxy_min_port = 5 proxy_max_port = 4 }"),
    hcl("expose range", "ports { expose_min_port = 5 expose_max_port = 4 }"),
    hcl("recursor any", 'recursors = ["0.0.0.0"]'),
    hcl("recursor unix", 'recursors = ["unix:///x"]'),
    hcl("retry join template broken", 'retry_join = ["{{ x"]'),
    hcl("retry join provider", 'retry_join = ["provider=aws tag_key=a"]'),
]

CLUSTER = [
    hcl("bootstrap without server", "bootstrap = true"),
    server("bootstrap", "bootstrap = true"),
    hcl("bootstrap_expect without server", "bootstrap_expect = 3"),
    server("bootstrap_expect negative", "bootstrap_expect = -1"),
    server("bootstrap and expect", "bootstrap = true\nbootstrap_expect = 3"),
    server("expect one", "bootstrap_expect = 1"),
    server("expect two", "bootstrap_expect = 2"),
    server("expect three", "bootstrap_expect = 3"),
    server("expect four", "bootstrap_expect = 4"),
    server("auto_encrypt.tls on a server", "auto_encrypt { tls = true }"),
    hcl("auto_encrypt.allow_tls on a client", "auto_encrypt { allow_tls = true }"),
    server("auto_encrypt.allow_tls unverified", "auto_encrypt { allow_tls = true }"),
    hcl("auto_encrypt addresses", 'auto_encrypt { ip_san = ["x", "1.1.1.1"] }'),
    hcl("auto_config and auto_encrypt", "auto_config { enabled = true }\nauto_encrypt { tls = true }"),
    hcl("auto_config without TLS", "auto_config { enabled = true }"),
    hcl("auto_config without token", "auto_config { enabled = true }\nverify_outgoing = true"),
    hcl("auto_config without servers", 'auto_config { enabled = true intro_token = "x" }\nverify_outgoing = true'),
    server("auto_config on a server", "auto_config { enabled = true }\nverify_outgoing = true"),
    hcl("authorization on a client", "auto_config { authorization { enabled = true } }"),
    server("authorization without certificate", "auto_config { authorization { enabled = true } }"),
    hcl("federation without connect", "connect { enable_mesh_gateway_wan_federation = true }"),
    hcl("federation on a client", "connect { enabled = true enable_mesh_gateway_wan_federation = true }"),
    server(
        "federation with join",
        'connect { enabled = true enable_mesh_gateway_wan_federation = true }\nretry_join_wan = ["a"]',
    ),
    hcl("primary gateways on a client", 'primary_gateways = ["a"]'),
    server("primary gateways in the primary", 'primary_gateways = ["a"]'),
    hcl("CA provider", 'connect { ca_provider = "x" }'),
]

SERVICES = [
    hcl("service good", 'service { name = "web" port = 80 checks = [{ ttl = "5s" }] weights { passing = 2 } }'),
    hcl("weights zero", 'service { name = "web" weights { passing = 0 warning = 0 } }'),
    hcl("weights negative", 'service { name = "web" weights { passing = 1 warning = -1 } }'),
    hcl("weights large", 'service { name = "web" weights { passing = 70000 warning = 1 } }'),
    hcl("service meta bad", 'service { name = "web" meta { "a b" = "c" } }'),
    hcl("proxy bare", 'service { name = "p" kind = "connect-proxy" }'),
    hcl(
        "proxy upstreams",
        'service { name = "p" kind = "connect-proxy" port = 1 proxy { destination_service_name = "w"\n'
        'upstreams = [{ destination_name = "a" local_bind_port = 1 }, { destination_name = "a" local_bind_port = 2 },\n'
        '{ destination_name = "b" local_bind_port = 1 }, {}, { destination_name = "c" destination_type = "x" }] } }',
    ),
    hcl(
        "proxy paths",
        'service { name = "p" kind = "connect-proxy" port = 1 proxy { destination_service_name = "w"\n'
        'expose { paths = [{ path = "" listener_port = 1 }, { path = "" listener_port = 1 }] } } }',
    ),
    hcl("gateway bare", 'service { name = "g" kind = "mesh-gateway" }'),
    hcl(
        "gateway with proxy settings",
        'service { name = "g" kind = "terminating-gateway" port = 1 proxy { destination_service_name = "w"\n'
        "local_service_port = 5 } connect { sidecar_service {} } }",
    ),
    hcl("mesh gateway mode", 'service { name = "w" proxy { mesh_gateway { mode = "x" } } }'),
    hcl("sidecar with id", 'service { name = "w" connect { sidecar_service { id = "x" } } }'),
    hcl("sidecar in sidecar", 'service { name = "w" connect { sidecar_service { connect { sidecar_service {} } } } }'),
]

FILES = [
    ("no arguments", {}, ["validate"]),
    ("file missing", {}, ["validate", "{dir}/none.hcl"]),
    ("format unknown", {"a.hcl": BASE}, ["validate", "-config-format=yaml", "{dir}/a.hcl"]),
    ("file without extension", {"a.conf": BASE, "b.hcl": BASE}, ["validate", "{dir}/a.conf", "{dir}/b.hcl"]),
    ("format given", {"a.conf": BASE}, ["validate", "-config-format=hcl", "{dir}/a.conf"]),
    ("directory", {"a.hcl": BASE, "b.json": '{"server": true}', "c.txt": "x"}, ["validate", "{dir}"]),
    ("directory, error in the second", {"a.hcl": BASE, "b.json": "{", "c.json": "["}, ["validate", "{dir}"]),
    ("quiet", {"a.hcl": BASE + 'node_name = "a.b"'}, ["validate", "-quiet", "{dir}/a.hcl"]),
    ("quiet and wrong", {"a.hcl": BASE + "x = 1"}, ["validate", "-quiet", "{dir}/a.hcl"]),
    ("unknown flag", {}, ["validate", "-bogus"]),
    ("merge order", {"a.hcl": 'node_name = "a"', "b.hcl": 'node_name = "b.c"'}, None),
    ("merge lists", {"a.hcl": 'recursors = ["1.1.1.1"]', "b.hcl": 'recursors = ["0.0.0.0"]'}, None),
    ("merge maps", {"a.hcl": 'node_meta { a = "b" }', "b.hcl": 'node_meta { "a.b" = "b" }'}, None),
]

FLAGS = [
    agent("flag unknown", "-bogus"),
    agent("flag without value", "-node"),
    agent("flag with a bad boolean", "-dev=x"),
    agent("flag with a bad number", "-http-port=abc"),
    agent("flag with a large number", "-http-port=99999999999999999999"),
    agent("flag with three dashes", "---dev"),
    agent("flag that is only a dash and equals", "-=x"),
    agent("flag extra arguments", "-server", "a", "b"),
    agent("flag after a dash", "-server", "-", "b"),
    agent("flags end", "--", "-bogus"),
    agent("flag log level", "-log-level=loud"),
    agent("flag config format", "-config-format=x"),
    agent("flag file missing", "-config-file={dir}/none.hcl"),
    agent("flag hcl broken", "-hcl=node_name = }"),
    agent("flag hcl unknown key", "-hcl", "server = true", "-hcl", "bogus = 1"),
    agent("flag node id short", "-node-id=abc"),
    agent("flag node id not hexadecimal", "-node-id=zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"),
    agent("flag node id without hyphens", "-node-id=00000000+0000-0000-0000-000000000000"),
    agent("flag bootstrap expect in dev mode", "-dev", "-bootstrap-expect=3"),
    agent("flag retry interval", "-retry-interval=x"),
    agent("flag bind bad", "--bind", "x"),
    agent("flag node meta reserved", "-node-meta", "consul-a:b:c"),
    agent("flag allow write", "-allow-write-http-from=x"),
    agent("flag tls version", '-hcl=tls_min_version = "x"'),
    agent("flag verify incoming", "-hcl=verify_incoming = true"),
    agent("flag verify outgoing", "-hcl=verify_outgoing = true"),
    ("flag data dir missing", {}, ["agent", "-bind=127.0.0.1", "-server"]),
]

CASES: list[Case] = [
    (f"{family}: {name}", files, arguments)
    for family, cases in (
        ("hcl", HCL_SYNTAX),
        ("json", JSON_SYNTAX),
        ("types", TYPES),
        ("keys", KEYS),
        ("basics", BASICS),
        ("durations", DURATIONS),
        ("addresses", ADDRESSES),
        ("cluster", CLUSTER),
        ("services", SERVICES),
        ("files", FILES),
        ("flags", FLAGS),
    )
    for name, files, arguments in cases
]

DEVIATIONS = {
    # Consul's own documentation names this key, but its parser does not know it.
    "addresses: advertise wan ipv6 is ipv4": "Config validation failed: "
    "advertise_addr_wan_ipv6 must be an ipv6 address\n",
    # Consul's HCL parser has a JSON parser of its own with messages of its own; ours are Python's.
    "hcl: brace without key": "Config validation failed: failed to parse {dir}/a.hcl: error parsing JSON: "
    "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)\n",
    # Consul says "bind_addr cannot be empty" whatever is wrong with it; we say what is wrong.
    "flags: flag bind bad": "==> 1 error occurred:\n\t* bind_addr: invalid ip address: x\n\n\n",
}
"""Where our errors differ from Consul's on purpose, and what they are."""
