"""ONNX files as canonical graphs: an own importer, so that every operator that comes in is one of the vocabulary."""
