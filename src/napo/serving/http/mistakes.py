"""What pydantic finds wrong in a request, as the server says it: what, where, and what to send instead.

Path    RequestValidationError -> [serving.http.mistakes] -> app
Takes   pydantic's errors, the request's content type
Gives   {what, where, remedy} of each place that is wrong
"""

from collections.abc import Mapping, Sequence
from typing import Any

# pydantic's name of an error -> what to send; {} takes the limit from the error
_REMEDIES = {
    "missing": "send it; see /docs",
    "extra_forbidden": "leave it out, or see /docs for how it is written",
    "json_invalid": "a JSON object in UTF-8",
    "model_attributes_type": "a JSON object",
    "dict_type": "a JSON object",
    "list_type": 'a list, such as ["..."]',
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_unicode": "a text in Unicode, without halves of characters",
    "string_too_long": "at most {max_length:,} characters",
    "too_long": "at most {max_length:,} of them",
    "too_short": "at least {min_length}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
}
_KINDS = ("constrained-str", "str", "int")  # how pydantic calls the kinds that a name may have: a text, a whole number


def said_of(errors: Sequence[Mapping[str, Any]], content_type: str) -> list[dict[str, str | None]]:
    """Each place once: of what may be a text or a number, the first kind's error."""
    said: dict[str, dict[str, str | None]] = {}
    for one in errors:
        place = one["loc"][:-1] if one["loc"][-1:] and one["loc"][-1] in _KINDS else one["loc"]
        where = ".".join(str(part) for part in place)
        if where not in said:
            remedy = _REMEDIES.get(one["type"], "see /docs").format(**one.get("ctx", {}))
            if place != one["loc"] and one["type"] == "string_type":
                remedy = "a text or a whole number"
            said[where] = {"what": one["msg"], "where": where or None, "remedy": remedy}
    if "body" in said and "json" not in content_type:
        return [
            {
                "what": f"the body is sent as {content_type or 'nothing in particular'}, not as JSON",
                "where": "Content-Type",
                "remedy": "`Content-Type: application/json`",
            }
        ]
    return list(said.values())
