"""What refinement costs: counted, forecast and measured."""
