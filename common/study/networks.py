"""Blocks [dl2d] and [dl3d] of the study file: a network and its federated training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from common.study.block import Positive, Settings
from common.study.strategy import StrategySpec, check_requirements, find_strategy, read_options

PAPER_2D: dict[str, Any] = {
    "input_size": 224,
    "batch_size": 64,
    "learning_rate": 1e-4,
    "rounds": 50,
    "select": "best",
    "patience": 10,
}
"""Settings of the paper's 2D network; the defaults are those of its 3D network."""


WIDEST = (64, 128, 256, 512)
"""Widths of the four stages in the widest of the released presets."""


class NetworkSettings(Settings):
    """Architecture and federated training of one network.

    `widths` are the planes of the four stages; the stem and blocks follow torchvision (2D) and
    Med3D (3D) when left at the defaults. Med3D's depths: 10 and 18 are `basic` with layers 1 and 2
    each, 34 is `basic` and 50 `bottleneck` with 3, 4, 6, 3; 18 and 34 have `shortcut` A, strided
    copies padded with zeros instead of convolutions. `dilated` has its stages 3 and 4 at stride 1
    with dilation 2 and 4. The first layer sees at most 7 voxels along an axis, and `widths` are at
    most those of the released presets, unless `unusual` says otherwise: a layer of many numbers can
    hold whole images, and its change gives them away. `norm = "frozen"` never changes the running
    statistics of pretrained weights.

    A site goes through its patients `local_epochs` times a round, or takes `local_steps` steps
    where that is not 0. `balanced` sampling draws a site's classes in turn, each without repetition
    until it is used up; `class_weights` multiply the losses of negative and positive patients.
    `precision` is that of training: `auto` uses 16 bits where they suffice on a GPU.

    `average_last` is the share of final rounds whose global weights are averaged into the result
    (1/rounds or less = the last round only). With `select = "best"` the weights of the round with
    the least loss on held-out patients of all sites are the result instead, and training stops
    after `patience` rounds without a better one (0 = never). In the training without fold k these
    patients are fold k + 1; on all patients the number of rounds is the median of the best ones.

    `transfer_bits = 16` halves what a site sends and gets back, and 8 takes about a third: changes
    are rounded, and a site carries the rounding error over to its next round.
    """

    block: Literal["basic", "bottleneck"] = "bottleneck"
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    stem_kernel: int = Field(7, ge=1, le=7, description="of the first convolution, in voxels")
    stem_stride: int = Field(2, ge=1)
    stem_pool: bool = True
    shortcut: Literal["A", "B"] = "B"
    dilated: bool = False
    unusual: bool = Field(False, description="allows wider stages than any released preset has")
    norm: Literal["batch", "frozen", "group"] = "batch"
    pretrained: str = ""
    pretrained_sha256: str = ""
    input_size: int = Field(96, ge=16, le=1024)
    rounds: int = Field(300, ge=1)
    local_epochs: int = Field(1, ge=1)
    local_steps: int = Field(0, ge=0, description="steps a round; 0 = whole epochs")
    batch_size: int = Field(8, ge=2)
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    class_weights: tuple[Positive, Positive] = (1.0, 1.0)
    optimiser: Literal["adam", "sgd"] = "adam"
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    learning_rate: float = Field(0.02, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_rounds: int = Field(0, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    gradient_clip: float = Field(0.0, ge=0, description="largest gradient norm; 0 = no clipping")
    precision: Literal["auto", "float32"] = "auto"
    average_last: float = Field(0.0, ge=0, le=1)
    select: Literal["last", "best"] = "last"
    patience: int = Field(0, ge=0)
    augment: bool = True
    strategy: str = "fedavg"
    strategy_options: SerializeAsAny[Settings] = Field(Settings(), validate_default=True)
    transfer_bits: Literal[8, 16, 32] = 32

    @property
    def spec(self) -> type[StrategySpec]:
        """The facts about the strategy."""
        return find_strategy(self.strategy)

    @property
    def wide(self) -> bool:
        """True when a stage is wider than in any released preset."""
        return any(own > most for own, most in zip(self.widths, WIDEST, strict=True))

    @property
    def validates(self) -> bool:
        """True when every round evaluates the loss on held-out patients."""
        return self.select == "best"

    @field_validator("strategy")
    @classmethod
    def _there_is_such_a_strategy(cls, name: str) -> str:
        find_strategy(name)
        return name

    @field_validator("strategy_options", mode="before")
    @classmethod
    def _options_are_of_the_strategy(cls, written: Any, info: ValidationInfo) -> Any:
        given = written.model_dump() if isinstance(written, Settings) else written
        if not isinstance(given, dict):
            return written
        # without a name where that was refused itself
        name = info.data.get("strategy")
        return read_options(name, given) if name else Settings()

    @model_validator(mode="after")
    def _wide_stages_are_said(self) -> Self:
        if self.wide and not self.unusual:
            raise ValueError(
                f"widths above {', '.join(map(str, WIDEST))} are those of no released preset and"
                " could hold single images: write unusual = true, and every hospital is shown it"
            )
        return self

    @model_validator(mode="after")
    def _frozen_statistics_are_of_something(self) -> Self:
        if self.norm == "frozen" and not self.pretrained:
            raise ValueError('norm = "frozen" keeps statistics of pretrained weights: name these')
        return self

    @model_validator(mode="after")
    def _settings_that_go_together(self) -> Self:
        if self.patience and self.select == "last":
            raise ValueError('patience counts rounds without a better one: set select = "best"')
        check_requirements(self.spec, self)
        return self
