"""Templates of prepared queries: texts of the service part are written with `${...}`, filled in for each name asked.

Values: `name.full` the name asked for, `name.prefix` the template's own name, `name.suffix` what follows it,
`agent.segment`, and `match(n)`, a group of the template's regular expression ("" if there is none)."""

from __future__ import annotations

from collections.abc import Callable

from shared.hil import Function, HilError, evaluate, parse
from shared.hil.ast import INT, STRING, Node
from shared.structs.prepared_query import NAME_PREFIX_MATCH, PreparedQuery, ServiceQuery


class TemplateError(ValueError):
    """A template cannot be used; in Consul's words."""


class CompiledTemplate:
    """A query that was checked: `render` fills it in."""

    def __init__(
        self, query: PreparedQuery, trees: dict[str, Node], groups: Callable[[str], list[str] | None] | None
    ) -> None:
        self._query, self._trees, self._groups = query, trees, groups

    def render(self, name: str, segment: str = "") -> PreparedQuery:
        """The query for a name. Raises TemplateError."""
        query = self._query
        try:
            matches = (self._groups(name) if self._groups is not None else None) or []
        except ValueError as error:  # a PatternError; its module is only loaded where there is a pattern
            raise TemplateError(f"Bad Regexp: {error}") from None
        variables = {
            "name.full": name,
            "name.prefix": query.name,
            "name.suffix": name.removeprefix(query.name),
            "agent.segment": segment,
        }
        functions = {
            "match": Function((INT,), STRING, lambda n: matches[n] if 0 <= n < len(matches) else ""),
        }

        def fill_in(path: str, text: str) -> str:
            try:
                return evaluate(self._trees[path], variables, functions)
            except HilError as error:
                raise TemplateError(f"Bad evaluation for '{text}' in Service{path}: {error}") from None

        service = each_text(query.service, fill_in)
        if query.template.remove_empty_tags:
            service.tags = [tag for tag in service.tags or () if tag]
        return query.replace(service=service)


def compile_template(query: PreparedQuery) -> CompiledTemplate:
    """Raises TemplateError for a template that could not be used later, among others if it cannot be filled in for its
    own name."""
    if query.template.type != NAME_PREFIX_MATCH:
        raise TemplateError(f"Bad Template.Type '{query.template.type}'")
    trees: dict[str, Node] = {}

    def note(path: str, text: str) -> str:
        try:
            trees[path] = parse(text)
        except HilError as error:
            raise TemplateError(f"Bad format '{text}' in Service{path}: {error}") from None
        return text

    each_text(query.service, note)
    groups = None
    if query.template.regexp:
        from shared.bexpr.re2_captures import PatternError, compile_groups

        try:
            groups = compile_groups(query.template.regexp)
        except PatternError as error:
            raise TemplateError(f"Bad Regexp: {error}") from None
    made = CompiledTemplate(query, trees, groups)
    made.render(query.name)
    return made


def each_text(service: ServiceQuery, change: Callable[[str, str], str]) -> ServiceQuery:
    """A copy of a service part with every text in it replaced by `change(path, text)`, in the order of its fields."""

    def items(path: str, texts: list[str] | None) -> list[str] | None:
        return None if texts is None else [change(f"{path}[{at}]", text) for at, text in enumerate(texts)]

    def values(path: str, texts: dict[str, str] | None) -> dict[str, str] | None:
        return None if texts is None else {key: change(f"{path}[{key}]", texts[key]) for key in sorted(texts)}

    return service.replace(
        service=change(".Service", service.service),
        failover=service.failover.replace(
            datacenters=items(".Failover.Datacenters", service.failover.datacenters),
        ),
        ignore_check_ids=items(".IgnoreCheckIDs", service.ignore_check_ids),
        near=change(".Near", service.near),
        tags=items(".Tags", service.tags),
        node_meta=values(".NodeMeta", service.node_meta),
        service_meta=values(".ServiceMeta", service.service_meta),
    )
