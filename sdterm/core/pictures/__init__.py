"""What happens to the pixels of pictures that a job starts from, and to what comes of them: sizes, masks, colours."""
