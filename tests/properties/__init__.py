"""What holds for any set of documents: strategies that write them, and what is true of whatever they write."""
