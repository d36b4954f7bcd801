"""What model families are built from, ours and yours: noise levels, predictions, and CLIP as A1111 reads with it."""
