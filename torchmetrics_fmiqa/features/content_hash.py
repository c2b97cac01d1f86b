"""Digests of the content of a user's network or distance, equal in every process."""

from __future__ import annotations

import functools
import hashlib
import pickle
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def module_identity(module: nn.Module) -> str:
    """Digest of a module's structure, code, plain attributes and tensors."""
    return f"sha256:{hashlib.sha256(content_of(module).encode()).hexdigest()}"


# Attributes of a module that are not its content; hooks are left out too.
_NOT_CONTENT = {"training", "_compiled_call_impl", "_version"}


def content_of(value: Any) -> str:
    """Describe the content of a value by a text that is equal in every process and differs for different values.

    Functions are described by code, defaults and closures; tensors by every value; objects of other kinds by their
    pickle.
    """
    path: list[int] = []

    def describe(value: Any) -> str:
        if value is None or value is Ellipsis or isinstance(value, (bool, int, float, complex, str, bytes)):
            return repr(value)
        if id(value) in path:  # a cycle
            return f"cycle {path.index(id(value))}"
        path.append(id(value))
        try:
            return f"{type(value).__module__}.{type(value).__qualname__}({parts(value)})"
        finally:
            path.pop()

    def items(pairs: Any) -> str:
        return ", ".join(f"{describe(key)}: {describe(item)}" for key, item in pairs)

    def parts(value: Any) -> str:
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().flatten()
            data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
            return f"{value.dtype}{tuple(value.shape)}{hashlib.sha256(data).hexdigest()}"
        if isinstance(value, (set, frozenset)):
            return ", ".join(sorted(content_of(item) for item in value))
        if isinstance(value, (tuple, list)):
            return ", ".join(map(describe, value))
        if isinstance(value, Mapping):
            return items(value.items())
        if isinstance(value, types.CodeType):
            return f"{value.co_code.hex()}, {describe(value.co_consts)}, {value.co_names}"
        if isinstance(value, types.FunctionType):
            closure = [cell.cell_contents for cell in value.__closure__ or ()]
            return ", ".join(map(describe, (value.__code__, closure, value.__defaults__, value.__kwdefaults__)))
        if isinstance(value, types.MethodType):
            return f"{describe(value.__func__)}, {describe(value.__self__)}"
        if isinstance(value, functools.partial):
            return f"{describe(value.func)}, {describe(value.args)}, {items(value.keywords.items())}"
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, nn.Module):
            forward = type(value).forward if not type(value).__module__.startswith("torch.") else None
            state = {k: v for k, v in vars(value).items() if k not in _NOT_CONTENT and "hook" not in k}
            return f"{describe(forward)}, {items(state.items())}"
        return pickle.dumps(value, protocol=4).hex()

    return describe(value)
