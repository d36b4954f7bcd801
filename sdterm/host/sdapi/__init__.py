"""`/sdapi/v1`: A1111's own HTTP API, over the same queue, files and catalogue as `/v1`."""
