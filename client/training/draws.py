"""Random draws of a training round: a function of the site's secret, unknown to anybody else."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass

import numpy as np
import torch

_DIGEST = hashlib.sha256().digest_size
_STATE_HEAD, _STATE_WORDS = 24, 624
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Draws:
    """Source of the random numbers of one round of a training at one site.

    A request that is repeated, also after a restart, finds the same numbers. Nobody without the
    secret can tell or choose them: they come from HMAC-SHA256 (RFC 2104) in counter mode.

    Parameters
    ----------
    secret : of the site, see `client.store.draw_secret`.
    seed : of the study, so that simulations of different seeds differ; it protects nothing.
    round : number of rounds behind the received weights.

    Examples
    --------
    >>> draws = Draws(b"of the site", "run", "dl3d", "fold0", seed=1, round=4)
    >>> first, again = draws.generator("batches"), draws.generator("batches")
    >>> bool((torch.rand(9, generator=first) == torch.rand(9, generator=again)).all())
    True
    """

    secret: bytes
    run: str
    network: str
    variant: str
    seed: int
    round: int

    def generator(self, *purpose: str, device: torch.device = _CPU) -> torch.Generator:
        """Return a new generator for a purpose; other purposes draw independently of it.

        On a CPU torch uses only 32 bits of a seed: few enough to try them all. So there the whole
        state is set, 624 words of 32 bits. A GPU's generator uses all 64.
        """
        generator = torch.Generator(device)
        if device.type != "cpu":
            return generator.manual_seed(int.from_bytes(self._stream(purpose, 8), "big"))
        # the words lie in fields of 64 bits, after a head that marks them all as unused
        state = generator.manual_seed(0).get_state()
        stream = self._stream(purpose, 4 * _STATE_WORDS)
        words = np.frombuffer(stream, dtype="<u4").astype(np.uint64)
        state[_STATE_HEAD : _STATE_HEAD + words.nbytes] = torch.from_numpy(words.view(np.uint8))
        generator.set_state(state)
        return generator

    def _stream(self, purpose: tuple[str, ...], length: int) -> bytes:
        about = [self.run, self.network, self.variant, self.seed, self.round, *purpose]
        blocks = range(-(-length // _DIGEST))
        parts = [
            hmac.digest(self.secret, json.dumps([block, *about]).encode(), "sha256")
            for block in blocks
        ]
        return b"".join(parts)[:length]
