"""Torch's attention with a last projection that runs as a layer, and so can be looked at."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["OpenAttention"]


class OpenAttention(nn.MultiheadAttention):
    """:class:`torch.nn.MultiheadAttention` in evaluation, computed layer by layer.

    Torch's own reads the weight of its projection without running the layer, whose answers and
    samples' gradients would be missed.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what torch's does; whether a mask is causal is seen from the mask alone."""
        single = query.dim() == 2
        turned = not single and not self.batch_first
        read = [
            one[None] if single else one.transpose(0, 1) if turned else one
            for one in (query, key, value)
        ]
        if single and key_padding_mask is not None:
            key_padding_mask = key_padding_mask[None]
        q, k, v = self._projected(*read)
        mask = self._mask(q, k, key_padding_mask, attn_mask)
        shares = None
        if need_weights:
            alike = q @ k.transpose(2, 3) / math.sqrt(self.head_dim)
            shares = (alike if mask is None else alike + mask).softmax(-1)
            mixed = shares @ v
            shares = shares.mean(1) if average_attn_weights else shares
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask)
        answer = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if single:
            return answer[0], None if shares is None else shares[0]
        return answer.transpose(0, 1) if turned else answer, shares

    def _projected(self, *read: Tensor) -> list[Tensor]:
        """Return queries, keys and values, each (samples, heads, tokens, width of a head)."""
        if self._qkv_same_embed_dim:
            weights = list(self.in_proj_weight.chunk(3))
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        biases = [None] * 3 if self.in_proj_bias is None else list(self.in_proj_bias.chunk(3))
        q, *others = map(F.linear, read, weights, biases)
        if self.bias_k is not None and self.bias_v is not None:
            more = [one.expand(len(q), 1, -1) for one in (self.bias_k, self.bias_v)]
            others = [torch.cat(pair, 1) for pair in zip(others, more, strict=True)]
        if self.add_zero_attn:
            others = [F.pad(one, (0, 0, 0, 1)) for one in others]
        heads = (self.num_heads, self.head_dim)
        return [one.view(*one.shape[:2], *heads).transpose(1, 2) for one in (q, *others)]

    def _mask(
        self, q: Tensor, k: Tensor, of_keys: Tensor | None, of_pairs: Tensor | None
    ) -> Tensor | None:
        """Return what is added to likenesses, to be broadcast to (samples, heads, read, asked)."""
        masks = []
        if of_keys is not None:
            masks.append(_added(of_keys, q)[:, None, None])
        if of_pairs is not None:
            added = _added(of_pairs, q)
            shape = (len(q), self.num_heads, *added.shape[1:]) if added.dim() == 3 else added.shape
            masks.append(added.reshape(shape))
        if not masks:
            return None
        mask = masks[0] if len(masks) == 1 else masks[0] + masks[1]
        return F.pad(mask, (0, k.shape[2] - mask.shape[-1]))  # what was appended is seen by all


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask as numbers: of a boolean one minus infinity where it is true."""
    if mask.dtype == torch.bool:
        return like.new_zeros(mask.shape).masked_fill(mask, -math.inf)
    return mask.to(like)
