//! In which form a client wants objects.

/// A form of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Whole,
    /// As rows of a table (`kubectl get`).
    Table,
    /// Their metadata only.
    Metadata,
}

impl Form {
    /// Reads `Accept`: the first of its alternatives that the server has; JSON when there is none.
    pub(super) fn parse(accept: &str) -> Self {
        for alternative in accept.split(',') {
            let mut parts = alternative.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json" | "application/*" | "*/*")) {
                continue;
            }
            let parameters: Vec<&str> = parts.collect();
            match parameters.iter().find_map(|parameter| parameter.strip_prefix("as=")) {
                None => return Self::Whole,
                // `v1beta1` is what clients ask for from servers that are older than this one's emulated version.
                Some("Table") if parameters.contains(&"v=v1") => return Self::Table,
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Self::Metadata,
                Some(_) => {}
            }
        }
        Self::Whole
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("application/json" => Form::Whole)]
    #[test_case("" => Form::Whole)]
    #[test_case("application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json" => Form::Table)]
    #[test_case("application/vnd.kubernetes.protobuf, application/json" => Form::Whole)]
    #[test_case("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json" => Form::Metadata)]
    fn forms(accept: &str) -> Form {
        Form::parse(accept)
    }
}
