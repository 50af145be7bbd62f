"""What is looked for: each kind of detector measures closed or forming bars, and says where that is much."""
