"""gotext: texts as Go reads and writes them. Consul's clients see these words, so they are part of its API.

quoting      quote quote_ascii: %q and %+q

Import the module you need: this package imports nothing itself."""
