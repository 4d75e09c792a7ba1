"""config: from flags and files to one frozen RuntimeConfig that every process loads.

runtime.load(path), .dump(config, path), .RuntimeConfig.dev(...)   what services use: no parser, no pydantic
debug.debug_config(config), .short_config(config)                the two objects of /v1/agent/self"""
