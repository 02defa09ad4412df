"""Which page the work was at when something went wrong: said in what is told of it.

Pages count from 0 here, and from 1 for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from archived.api import Failure, Message, Refuse

OnPage = Callable[[int], AbstractContextManager[None]]
"""Work on a page happens inside it."""
_AT = "archived_page"


@contextmanager
def on_page(page: int) -> Iterator[None]:
    """What is raised inside knows its page."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, _AT):
            setattr(error, _AT, page)
        raise


def page_of(error: BaseException) -> int | None:
    """The page at which `error`, or what it came from, was raised; `None` when it is of no page."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        page = getattr(at, _AT, None)
        if isinstance(page, int):
            return page
        seen.add(id(at))
        at = at.__cause__ or at.__context__
    return None


def with_page(refusal: Failure, error: BaseException) -> Failure:
    """The refusal, which names the page that `error` is of."""
    page = page_of(error)
    if page is None or not isinstance(refusal, Refuse) or "page " in refusal.message.lower():
        return refusal
    return Refuse(
        Message("Page {page}: {message}", page=page + 1, message=refusal.message),
        code=refusal.code,
        hint=refusal.hint,
    )
