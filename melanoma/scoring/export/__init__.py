"""A sealed bundle in the formats of others: ONNX, OpenVINO's IR, a Hugging Face folder."""
