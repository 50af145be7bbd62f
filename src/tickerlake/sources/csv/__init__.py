"""CSV files of stock prices, in any vendor's layout."""
