"""Cells that stand for "not known" in other people's tables, read as the blank that they mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a service asks of words alone, and pandas takes long to import
    import pandas as pd

# In lower case, without the brackets that some programs put around them.
_LISTED = (
    ",-,--,---,.,?,??,na,n/a,n.a.,n.a,#n/a,#na,#null!,nan,nat,null,\\n,none,nil,nothing,unknown,unk,"
    "undefined,missing,unspecified,not known,not available,not specified,not applicable,"
    "not recorded,not provided,not reported,not given,no data,no id,blank,empty,void,tbd,tba,"
    # De-identification writes one word for all, and spreadsheets their errors.
    "anonymous,anonymized,anonymised,anonym,anon,deidentified,de-identified,redacted,withheld,"
    "#ref!,#value!,#name?,#div/0!,#num!,unbekannt,inconnu,inconnue,desconocido,sconosciuto,onbekend"
)
_WORDS = frozenset(_LISTED.split(","))
_BRACKETS = str.maketrans("", "", "<>()[]{}\"'")
# -1, -9, -99 and their like: an answer's code, unless the column has other negative numbers.
_CODE = re.compile(r"-(1|9+)(\.0*)?")
_NEGATIVE = re.compile(r"-\d+(\.\d*)?")


def is_placeholder(cell: str) -> bool:
    """Whether the words of the cell mean that nothing is known; True of a blank one."""
    plain = cell.strip().translate(_BRACKETS).strip().lower()
    return plain in _WORDS


def known_id(text: str) -> str:
    """An id that stands alone, "" where it is a placeholder or an answer's code (-1)."""
    plain = text.strip()
    return "" if is_placeholder(plain) or _CODE.fullmatch(plain) else plain


def blank_placeholders(column: pd.Series) -> pd.Series:
    """The column of text with every placeholder (unknown, NULL, None, N/A, -1 ...) as a blank.

    Not for labels and names of images, which mean what they say.
    """
    values = column.drop_duplicates().tolist()
    negative = {cell for cell in values if _NEGATIVE.fullmatch(cell)}
    codes = negative if all(_CODE.fullmatch(cell) for cell in negative) else set()
    blank = {cell for cell in values if cell and (cell in codes or is_placeholder(cell))}
    return column.mask(column.isin(blank), "") if blank else column
