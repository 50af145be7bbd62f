"""The roles assigned to the columns of a file so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import Layout, VendorLayout


@dataclass
class RoleAssignment:
    """The columns of a file, their roles so far, and the reasons.

    Parameters
    ----------
    names
        The names of the columns as in the header; all empty if there is none.
    columns
        The first cells of each column.
    roles
        Role to index of its column.
    reasons
        Role to why its column has it.
    """

    names: Sequence[str]
    columns: Sequence[ColumnSample]
    roles: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def assign(self, role: str, index: int, reason: str) -> None:
        """Assign a role to a column."""
        self.roles[role], self.reasons[role] = index, reason

    def assign_by_name(self, role: str, index: int) -> None:
        """Assign a role to a column that has the name of the role."""
        self.assign(role, index, f"its name, {self.names[index].strip()}")

    @property
    def unassigned(self) -> list[int]:
        """The columns without a role."""
        assigned = set(self.roles.values())
        return [i for i in range(len(self.columns)) if i not in assigned]

    def strings(self, role: str) -> Sequence[str]:
        """Return the cells of the column with a role; empty texts if no column has it."""
        if role in self.roles:
            return self.columns[self.roles[role]].strings
        return [""] * (len(self.columns[0].strings) if self.columns else 0)

    def to_layout(
        self,
        record_type: str,
        date_duplicates: dict[int, str] | None = None,
        *,
        price_type: str = "last",
        vendor_layout: VendorLayout | None = None,
    ) -> Layout:
        """Return the layout of the file with these roles."""
        return Layout(
            record_type,
            tuple(name.strip() for name in self.names),
            self.roles,
            date_duplicates or {},
            price_type=price_type,
            reasons=self.reasons,
            vendor_layout=vendor_layout,
        )
