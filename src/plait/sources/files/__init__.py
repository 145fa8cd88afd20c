"""A folder of YAML as a source: read with lines, split into documents, watched."""
