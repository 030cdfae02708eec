package file

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// network are the filesystems that are not on a disk of this machine, by their
// magic number (statfs(2) and linux/magic.h).
var network = map[int64]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.CIFS_SUPER_MAGIC: "CIFS",
	unix.SMB2_SUPER_MAGIC: "SMB 2",
	unix.V9FS_MAGIC:       "9P",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.AFS_FS_MAGIC:     "AFS",
	unix.CEPH_SUPER_MAGIC: "Ceph",
	unix.CODA_SUPER_MAGIC: "Coda",
	unix.NCP_SUPER_MAGIC:  "NCP",
	unix.FUSE_SUPER_MAGIC: "FUSE",
	0x0bd00bd0:            "Lustre",
	0x01161970:            "GFS2",
	0x7461636f:            "OCFS2",
	0x47504653:            "GPFS",
	0x19830326:            "BeeGFS",
	0x786f4256:            "VirtualBox shared folder",
	0xbacbacbc:            "VMware shared folder",
}

// refuseNetwork returns an error when the folder is on a network filesystem.
func refuseNetwork(folder *os.File) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(folder.Fd()), &st); err != nil {
		return &os.PathError{Op: "statfs", Path: folder.Name(), Err: err}
	}
	name, found := network[int64(uint32(st.Type))]
	if !found {
		return nil
	}
	return fmt.Errorf("%s is on a %s filesystem, where locks and syncs may not keep what Lamina promises: "+
		"use a folder on a local disk or an S3 bucket, or allow it by ?network=allow in the bucket's URL if you know that they do",
		folder.Name(), name)
}
