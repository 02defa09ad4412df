"""Benchmarks: `./run bench`, and how well `ocr` accounts for ink."""
