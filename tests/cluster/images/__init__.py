"""The images that tests run on the cluster, built from the Dockerfiles that users build."""

from images.catalogue import NAMES
from images.errors import ImageMissing
from images.shelf import Built, built, image, reference

__all__ = ["NAMES", "Built", "ImageMissing", "built", "image", "reference"]
