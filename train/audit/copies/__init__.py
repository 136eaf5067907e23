"""Which files are copies of one radiograph."""
