"""ui: the files of the status page."""
