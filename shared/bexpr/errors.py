"""The one error of the filter language: its text is what an API client gets to see."""


class FilterError(ValueError):
    """An expression that cannot be parsed, or that does not fit the fields it is used on."""
