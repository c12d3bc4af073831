//! Which parts of a value are objects in Python that cross as texts: dates, times, durations and decimals.

use serde_json::{Value as Json, json};

use super::field::FieldType;

impl FieldType {
    /// The parts of a value of this type that are objects in Python, for `rlm/objects.py`: the name of a
    /// class, or a structure of these. `None` if there are none.
    pub(crate) fn objects(&self) -> Option<Json> {
        match self {
            FieldType::Date
            | FieldType::Time
            | FieldType::Datetime
            | FieldType::Timedelta
            | FieldType::Decimal => Some(json!(self.to_string())),
            FieldType::List(item) | FieldType::Set(item) | FieldType::TupleOf(item) => {
                Some(json!(["each", item.objects()?]))
            }
            FieldType::Dict(_, value) => Some(json!(["values", value.objects()?])),
            FieldType::Tuple(items) => of_several("places", items, |_| None),
            // A text that is meant as a text stays one.
            FieldType::Union(members) => of_several("union", members, |member| {
                let is_text = member.is_text() || matches!(member, FieldType::Literal(_));
                is_text.then(|| json!("str"))
            }),
            FieldType::Record(fields) => {
                let parts = fields.iter().filter_map(|field| Some((field.name.clone(), field.ty.objects()?)));
                let parts: serde_json::Map<_, _> = parts.collect();
                (!parts.is_empty()).then_some(Json::Object(parts))
            }
            FieldType::Constrained(inner, _) => inner.objects(),
            _ => None,
        }
    }
}

/// The parts of each, where one of them has any. The others are what `otherwise` says, or stay as they are.
fn of_several(form: &str, types: &[FieldType], otherwise: fn(&FieldType) -> Option<Json>) -> Option<Json> {
    let parts: Vec<_> = types.iter().map(FieldType::objects).collect();
    parts.iter().any(Option::is_some).then(|| {
        let parts = parts.into_iter().zip(types);
        let parts = parts.map(|(part, ty)| part.or_else(|| otherwise(ty)).unwrap_or_else(|| json!("")));
        Json::Array(std::iter::once(json!(form)).chain(parts).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_objects_is_named() {
        for (ty, objects) in [
            ("str", None),
            ("list[dict[date, int]]", None),
            ("date", Some(json!("date"))),
            ("dict[str, list[Decimal]]", Some(json!(["values", ["each", "Decimal"]]))),
            ("tuple[int, time]", Some(json!(["places", "", "time"]))),
            ("str | datetime | None", Some(json!(["union", "str", "datetime", ""]))),
            ("{'at': datetime, 'by': str}", Some(json!({"at": "datetime"}))),
        ] {
            assert_eq!(ty.parse::<FieldType>().unwrap().objects(), objects, "{ty}");
        }
    }
}
