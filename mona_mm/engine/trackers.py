"""What mmengine's trackers lack."""
import os.path as osp

from mmengine.visualization import MLflowVisBackend as _MLflowVisBackend
from numpy import ndarray

from mona_mm.registry import VISBACKENDS


@VISBACKENDS.register_module()
class MLflowVisBackend(_MLflowVisBackend):
    """mmengine's, which can save the pictures that hooks draw.

    They are called ``val_img``, and MLflow tells a picture's format by the
    end of its name: mmengine's stops there with an error. MLflow takes no
    step either, so that every picture would replace the one before.
    """

    def add_image(self, name: str, image: ndarray, step: int = 0,
                  **kwargs) -> None:
        """Record a picture as ``<name>_<step>.png``.

        Args:
            name (str): A name that ends with a format is left as it is.
            image (ndarray): (H, W, 3), RGB.
            step (int): Defaults to 0.
        """
        if not osp.splitext(name)[1]:
            name = f'{name}_{step}.png'
        super().add_image(name, image, step, **kwargs)
