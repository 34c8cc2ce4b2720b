"""Files of contests and benchmarks: readers that name the line they refuse, writers that check
before they write.

- `gldv2`: solutions, predictions and submissions of Google Landmarks v2; `gldv2_lists`: its image
  lists and label spaces; `gldv2_names`: its categories and file names.
- `revisited`: revisited Oxford and Paris.
- `digix`: Huawei DIGIX 2020.
- `sorghum`, `inat`, `semi_inat`: Sorghum-100, iNat Challenge 2021 and Semi-supervised iNat 2021.
- `listed`: an image as a benchmark's lists tell of it; `matlab`: files of MATLAB; `reid_names`: file
  names of re-identification. One file a benchmark: `online_products`, `cub`, `stanford_cars`,
  `inshop`, `deep_fashion2`, `products10k`, `veri776`, `vehicle_id`, `veri_wild`, `msmt17`, `cuhk03`,
  `mars`.
- `oxford_buildings`, `instre`, `met`, `ilias`, `uned`: lists and truths of these benchmarks; `coco`:
  boxes in COCO's format.
- `answer_lists`: what a submission is in memory; `class_answers`: that of a classifier.
"""
