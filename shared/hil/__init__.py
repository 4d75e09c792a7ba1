"""hil: the interpolation language of prepared query templates, as "web-${match(1)}".

parse(text) -> Node                       raises HilError
evaluate(node, variables, functions)      the text it stands for; raises HilError
Function(takes, gives, call)              a function templates may call"""

from shared.hil.errors import HilError
from shared.hil.evaluation import Function, evaluate
from shared.hil.parser import parse

__all__ = ["Function", "HilError", "evaluate", "parse"]
