"""Files of contests and benchmarks: readers that name the line they refuse, writers that check
before they write.

`gldv2` Google Landmarks v2: solutions, predictions, submissions; `gldv2_lists` its image lists and
    label spaces;
`revisited` revisited Oxford and Paris; `digix` Huawei DIGIX 2020; `lists` what a submission is in
memory.
"""
