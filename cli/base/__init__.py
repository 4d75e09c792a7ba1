"""What every command is built from. None of it imports trio, and `transport` is only loaded by commands
that talk to an agent.

flags      command-line flags with the rules of Go's `flag` package
usage      the layout of `-h` texts
http       the flags and environment variables that say which agent to talk to, and as whom
client     requests to an agent's HTTP API, with Consul's parameter and error conventions
transport  HTTP/1.1 over TCP, TLS or a Unix socket; failures in the words of Go's net/http
ui         lines on standard output and standard error
text       columns as Consul prints them
source     values given as an argument, as @file or as - for standard input
pattern    regular expressions of users, by RE2's rules
gojson     JSON whose syntax errors read as encoding/json's do
"""
