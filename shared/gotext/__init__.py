"""gotext: texts as Go reads and writes them. Consul's clients see these words, so they are part of its API.

quoting      quote quote_ascii: %q and %+q
durations    parse_duration_ns parse_duration_s format_duration_ns format_duration_s; DurationError
numbers      parse_bool parse_int parse_uint: strconv with base 0; RangeError
base64_text  decode
json_syntax  check end_of_first: what is wrong with a text, in the words of encoding/json; JsonSyntaxError
json_numbers JsonFloat (knows how it was written), format_float

Import the module you need: this package imports nothing itself."""
