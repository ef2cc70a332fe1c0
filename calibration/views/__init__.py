"""Which views to take, and taking them with an arm that moves by itself."""
