"""Import of a hospital's patients from DICOM as an archive exports it, and its own table.

Everything starts from a folder of DICOM files. A retrieval from a PACS fills such a folder.
"""
