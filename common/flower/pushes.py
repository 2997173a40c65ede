"""Hand parts of a message over a few at a time, where Flower lays out all of them at once.

Flower 1.41 copies every part of a message before it sends the first, and keeps all copies until the
last is sent: for a large network as much memory again as its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from flwr.supercore.constant import FLWR_PRIVATE_MAX_CONCURRENT_OBJ_PUSHES as MOST_AT_ONCE
from flwr.supercore.inflatable import inflatable_utils

from common.flower.seam import check_seam

SEAM = (
    (
        inflatable_utils,
        "push_object_contents_from_iterable",
        "object_contents push_object_fn max_concurrent_pushes",
    ),
    (inflatable_utils, "get_num_workers", "max_concurrent"),
)
"""The function that is replaced, and one that it calls."""


def push_few_at_once() -> None:
    """Replace Flower's way of pushing the parts of a message, in this process.

    Raises
    ------
    StudyError : another release of Flower than this was written for.
    """
    check_seam("the way of large messages", SEAM, where="flwr")
    setattr(*SEAM[0][:2], push_in_turn)


def push_in_turn(
    object_contents: Iterable[tuple[str, bytes]],
    push_object_fn: Callable[[str, bytes], None],
    *,
    max_concurrent_pushes: int = MOST_AT_ONCE,
) -> None:
    """Push parts, and take up the next one when one of those under way has been sent.

    Parameters
    ----------
    object_contents : names and contents.
    push_object_fn : sends one; what it raises ends the push.
    max_concurrent_pushes : most that are under way, as far as there are cores.
    """
    most = inflatable_utils.get_num_workers(max_concurrent_pushes)
    under_way: set[Future[None]] = set()
    with ThreadPoolExecutor(max_workers=most) as executor:
        for name, content in object_contents:
            under_way.add(executor.submit(push_object_fn, name, content))
            del content  # a part that was sent is not kept beside the next
            if len(under_way) >= most:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()
        for one in under_way:
            one.result()
