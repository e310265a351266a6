"""What a wheel holds for mim, beside the package's own ``.mim``.

mim takes the folder of the first file in a distribution's record for the
package. Ours is named as its module is, so that would be
``mona_mm-*.dist-info``: a folder that sorts before it answers mim instead.
"""
import os
import shutil

from setuptools.command.build_py import build_py

#: Sorts before ``mona_mm-``.
FOR_MIM = '.mona_mm'


class BuildPy(build_py):
    """Also puts ``.mona_mm/.mim`` into the wheel."""

    def run(self) -> None:
        """Build, then copy what the links in ``mona_mm/.mim`` lead to."""
        super().run()
        if not self.editable_mode:  # mim finds a checkout by itself
            shutil.copytree(
                os.path.join('mona_mm', '.mim'),
                os.path.join(self.build_lib, FOR_MIM, '.mim'),
                ignore=shutil.ignore_patterns('__pycache__'),
                dirs_exist_ok=True)
