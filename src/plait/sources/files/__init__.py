"""A folder of YAML as a source: read with lines, split into documents, watched.

Text that can't be read becomes Findings with a place; nothing here looks into an object beyond what names it.
"""
