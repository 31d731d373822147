"""Random changes of training pictures. Each picture of a batch gets its own draw, from the generator `dice`."""

import torch
from torch import Generator, Tensor


def shift(pictures: Tensor, pixels: int, dice: Generator) -> Tensor:
    """uint8 (B, h, w, 3) moved by up to `pixels` in each direction; the border repeats (DrQ, Yarats et al. 2020)."""
    if pixels == 0:
        return pictures
    batch, height, width, _ = pictures.shape
    move = torch.randint(-pixels, pixels + 1, (2, batch, 1), generator=dice)
    rows = (torch.arange(height) + move[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + move[1]).clamp(0, width - 1)
    parts = zip(pictures, rows, columns, strict=True)
    return torch.stack([picture.index_select(0, row).index_select(1, column) for picture, row, column in parts])


def colour(pictures: Tensor, share: float, dice: Generator) -> Tensor:
    """uint8 (B, h, w, 3) to float 0..255, contrast and brightness (of each colour) changed by up to `share`."""
    pixels = pictures.float()
    if share == 0.0:
        return pixels
    grey = (len(pixels), 1, 1, 1)
    contrast = 1.0 + share * (2.0 * torch.rand(grey, generator=dice) - 1.0)
    tint = torch.rand(grey, generator=dice) + 0.5 * torch.rand((len(pixels), 1, 1, 3), generator=dice)
    return torch.addcmul(255.0 * share * (tint - 0.75), pixels, contrast).clamp_(0.0, 255.0)
