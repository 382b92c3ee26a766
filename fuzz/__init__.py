"""The fuzz targets: one module each, which opens with its property. See README.md."""
