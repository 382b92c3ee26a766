"""The fuzz targets, one module each. A module opens with its property and lists its targets in `TARGETS`."""
