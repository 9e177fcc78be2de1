"""503 instead of an answer that an S3 client would take for the truth, and not ask again."""

from collections.abc import Callable, Iterable
from typing import Any

from swift.common.swob import HTTPServiceUnavailable, Request
from swift.common.utils import drain_and_close
from swift.common.wsgi import WSGIContext

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

RETRY_AFTER_S = 1


def unless(
    wrong: Callable[[int], bool], app: App, env: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """What `app` answers; if its status is a `wrong` one: 503, come again."""
    context = WSGIContext(app)
    answer: Iterable[bytes] = context._app_call(env)
    if wrong(context._get_status_int()):
        drain_and_close(answer)
        refusal: Iterable[bytes] = HTTPServiceUnavailable(
            request=Request(env), headers={"Retry-After": str(RETRY_AFTER_S)}
        )(env, start_response)
        return refusal
    start_response(context._response_status, context._response_headers, context._response_exc_info)
    return answer
