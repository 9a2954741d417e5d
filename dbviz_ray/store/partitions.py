"""Folders that name a column and its value, as pandas, DuckDB and polars read them."""


def partition(key: str, number: int) -> str:
    """Such a folder's name, in an order that sorts."""
    return f"{key}={number:05}"
