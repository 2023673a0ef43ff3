import numpy as np
import pandas as pd

from dεps.core.tables import column, columns, matching, records, rows_where

FRAME = pd.DataFrame({"method": ["deps", "rss", "deps"], "seed": [0, 0, 1], "top1": [70.0, 71.5, np.nan]})


def test_rows_hold_all_values_given_and_keep_their_order_and_index():
    assert matching(FRAME, method="deps").index.tolist() == [0, 2]
    assert matching(FRAME, method="deps", seed=1).index.tolist() == [2]
    assert matching(FRAME, method="ofa").empty
    assert matching(FRAME).equals(FRAME)
    assert matching(FRAME, top1=np.nan).empty  # as in a comparison, unknown is equal to nothing
    assert rows_where(FRAME, FRAME.top1 > 70).method.tolist() == ["rss"]


def test_columns_and_plain_rows():
    assert column(FRAME, "seed").tolist() == [0, 0, 1]
    assert columns(FRAME, "top1", "seed").columns.tolist() == ["top1", "seed"]
    first = records(FRAME)[0]
    assert first == {"method": "deps", "seed": 0, "top1": 70.0}
    assert [type(value) for value in first.values()] == [str, int, float]
