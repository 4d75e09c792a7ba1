"""expand: a text with templates replaced by what they evaluate to."""

from __future__ import annotations

from shared.gotext.quoting import quote_ascii


class TemplateError(ValueError):
    """The template cannot be parsed or evaluated; the message names it."""


def expand(text: str) -> str:
    """The text with each {{ ... }} replaced by its value. Text without braces costs nothing."""
    if "{{" not in text:
        return text
    from shared.config.sockaddr.evaluate import EvaluationError, evaluate
    from shared.config.sockaddr.functions import get_all_interfaces
    from shared.config.sockaddr.parse import ParseError, parse

    try:
        return evaluate(parse(text), get_all_interfaces)
    except ParseError as error:
        reason = f"template: sockaddr.Parse:{error.line}: {error}"
        raise TemplateError(f"unable to parse template {quote_ascii(text)}: {reason}") from error
    except EvaluationError as error:
        before = text[: error.position]
        line, column = 1 + before.count("\n"), len(before.rpartition("\n")[2].encode())
        reason = f'sockaddr.Parse:{line}:{column}: executing "sockaddr.Parse" at <{error.at}>: {error}'
        raise TemplateError(f"unable to execute sockaddr input {quote_ascii(text)}: template: {reason}") from error
    except RecursionError as error:
        raise TemplateError(f"unable to parse template {quote_ascii(text[:60])}: nested too deeply") from error
    except OSError as error:
        raise TemplateError(f"unable to query interface addresses: {error}") from error
