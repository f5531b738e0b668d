"""Other ways to tune a frozen vision tower than AF-CLIP's adaptor, to compare it with (its Table 5).

Each is handed to `networks.clip.token_taps` as `through`: it takes the tokens `(B, T, D)` through a
block of the tower, and changes nothing in the tower.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

LENGTH = 12  # of prompts and prefixes
DEPTHS = 5  # of prefixes: the paper says four, its number of parameters needs five
RANK = 64


class TokenPrompts(nn.Module):
    """Learned tokens beside those of the image: prompt tuning, and with several depths prefix tuning.

    Before block 1 the first of them are appended; before each of the next `depths - 1` blocks fresh ones take
    the place of what the block before made of them. With 12 of width 1024 and 9,216 numbers of text prompts,
    one depth has the paper's 21,504 parameters; five depths have its 70,656, where the text says "depth fixed
    at 4": read as the input and four blocks more.

    Args:
        dim: width D of the tower.
        length: n, tokens at a depth.
        depths: how many blocks get tokens of their own.
        std: of the initial normal distribution.
        generator: draws the initial tokens.
    """

    def __init__(
        self,
        dim: int,
        length: int = LENGTH,
        depths: int = 1,
        std: float = 0.01,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(depths, length, dim))
        nn.init.normal_(self.vectors, std=std, generator=generator)

    def forward(self, number: int, block: nn.Module, x: Tensor) -> Tensor:
        """Through block `number`, counted from 1; the learned tokens are the last n."""
        depths, length, _ = self.vectors.shape
        if number <= depths:
            own = x if number == 1 else x[:, :-length]
            fresh = self.vectors[number - 1].to(x).expand(len(x), -1, -1)
            x = torch.cat([own, fresh], dim=1)
        return block(x)


class LowRank(nn.Module):
    """LoRA on the query, key, value and output projections of some blocks (Hu et al. 2022).

    `W + B A` with A random and B zero, so that at first nothing changes. The paper says where the four blocks
    are: "the final layers of the four blocks", read as the blocks whose tokens are tapped. Rank 64, width
    1024: 4 blocks x 4 matrices x 131,072, with 9,216 numbers of text prompts the paper's 2,106,368.

    Args:
        dim: width D of the tower.
        blocks: which, counted from 1; they must be open_clip's, with `nn.MultiheadAttention` as `attn`.
        rank: r.
        generator: draws A.
    """

    def __init__(
        self,
        dim: int,
        blocks: Sequence[int],
        rank: int = RANK,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.down = nn.ParameterDict()
        self.up = nn.ParameterDict()
        for number in blocks:
            # Side by side: query, key, value, output.
            self.down[str(number)] = nn.Parameter(torch.empty(4, rank, dim))
            self.up[str(number)] = nn.Parameter(torch.zeros(4, dim, rank))
            nn.init.normal_(self.down[str(number)], std=dim**-0.5, generator=generator)

    def forward(self, number: int, block: nn.Module, x: Tensor) -> Tensor:
        """Through block `number`, counted from 1."""
        if str(number) not in self.down:
            return block(x)
        change = self.up[str(number)] @ self.down[str(number)]
        weights = {
            "attn.in_proj_weight": change[:3].flatten(0, 1),
            "attn.out_proj.weight": change[3],
        }
        tuned = {name: block.get_parameter(name) + delta for name, delta in weights.items()}
        return functional_call(block, tuned, (x,))
