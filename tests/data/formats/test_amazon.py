"""Amazon reviews in the forms of 2014, 2018 and 2023; a review's title is never taken for the item's."""

import gzip
import json

import pytest

from napo.errors import UserError
from tests.data.formats.reading import events, items


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_reviews_and_metadata_of_2018(tmp_path):
    review = {"overall": 5.0, "verified": True, "reviewTime": "09 4, 2015", "reviewerID": "ALJ66O1Y6SLHA"}
    review |= {"asin": "B000K2PJ4K", "style": {"Size:": " Big"}, "reviewText": "Great", "unixReviewTime": 1441324800}
    path = tmp_path / "Toys_5.json.gz"
    path.write_bytes(gzip.compress((json.dumps(review) + "\n").encode()))
    time = 1_441_324_800_000
    assert events(path) == [{"user": "ALJ66O1Y6SLHA", "item": "B000K2PJ4K", "rating": 5.0, "time": time}]
    meta = {"asin": "B000K2PJ4K", "title": "Slime &amp; Go", "brand": "Dragon", "category": ["Toys", "Arts", "Toys"]}
    written = items(write(tmp_path / "meta.json", meta | {"price": "$5.95", "also_buy": ["B1"]}))
    assert written == [
        {"item": "B000K2PJ4K", "title": "Slime &amp; Go", "brand": "Dragon", "category": "Toys|Arts", "price": "$5.95"}
    ]


def test_metadata_of_2014_are_python_literals(tmp_path):
    line = "{'asin': '0000031852', 'title': \"Girls' Tutu\", 'price': 3.17, 'categories': [['Sports', 'Dance']]}\n"
    (tmp_path / "meta_Sports.json").write_text(line)
    read = items(tmp_path / "meta_Sports.json")
    assert read == [{"item": "0000031852", "title": "Girls' Tutu", "categories": "Sports|Dance", "price": "3.17"}]


def test_reviews_and_metadata_of_2023_go_by_the_parent(tmp_path):
    review = {"rating": 4.0, "title": "Love it", "asin": "B00YQ6X8EO", "parent_asin": "B00YQ6X8EP", "user_id": "AGKH"}
    path = write(tmp_path / "All_Beauty.jsonl", review | {"timestamp": 1588687728923, "images": []})
    assert events(path) == [{"user": "AGKH", "item": "B00YQ6X8EP", "rating": 4.0, "time": 1_588_687_728_923}]
    meta = {"main_category": "All Beauty", "title": "Hair Mask", "store": "Howard", "parent_asin": "B00YQ6X8EP"}
    read = items(write(tmp_path / "meta.jsonl", meta | {"details": {"Size": "2 oz"}, "features": []}))
    assert read == [{"item": "B00YQ6X8EP", "title": "Hair Mask", "store": "Howard", "main_category": "All Beauty"}]


@pytest.mark.parametrize(
    "row", ["A39HTATAQ9V7YF,0205616461,5.0,1369699200", "0205616461,A39HTATAQ9V7YF,5.0,1369699200"]
)
def test_ratings_only_are_told_by_what_an_item_looks_like_in_either_order(tmp_path, row):
    (tmp_path / "ratings_Beauty.csv").write_text(row + "\n")
    assert events(tmp_path / "ratings_Beauty.csv") == [
        {"user": "A39HTATAQ9V7YF", "item": "0205616461", "rating": 5.0, "time": 1_369_699_200_000}
    ]


def test_ratings_only_that_could_be_either_are_asked_about(tmp_path):
    (tmp_path / "ratings.csv").write_text("B000000001,B000000002,5.0,1369699200\n")
    with pytest.raises(UserError, match="neither of the first two columns") as caught:
        events(tmp_path / "ratings.csv")
    assert "header: [user, item" in (caught.value.remedy or "")


def test_ratings_only_of_2023_have_a_header(tmp_path):
    (tmp_path / "Beauty.csv").write_text("user_id,parent_asin,rating,timestamp\nAGKH,B00YQ6X8EP,4.0,1588687728923\n")
    assert events(tmp_path / "Beauty.csv")[0]["time"] == 1_588_687_728_923
