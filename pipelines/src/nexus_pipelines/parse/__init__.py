"""From the bytes of a file to text with pages, sections and a title."""
