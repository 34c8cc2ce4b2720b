"""Files of contests and benchmarks: readers that name the line they refuse, writers that check
before they write.

- `gldv2`: solutions, predictions and submissions of Google Landmarks v2; `gldv2_lists`: its image
  lists and label spaces; `gldv2_names`: its categories and file names.
- `revisited`: revisited Oxford and Paris.
- `digix`: Huawei DIGIX 2020.
- `sorghum`, `inat`, `semi_inat`: Sorghum-100, iNat Challenge 2021 and Semi-supervised iNat 2021.
- `answer_lists`: what a submission is in memory; `class_answers`: that of a classifier.
"""
