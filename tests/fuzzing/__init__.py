"""What is read from outside, each way in as a door that damaged files are pushed through."""
